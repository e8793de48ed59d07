"""The thing classes of ADE20K, which its archives do not tell, and which are too few to be worth a download.

The 100 things of its instance annotations are numbered in the order of their classes among the 150 of its semantic
maps. Source: facebookresearch/Mask2Former, `datasets/ade20k_instance_catid_mapping.txt`; the names of the things in
CSAILVision/placeschallenge, `instancesegmentation/instanceInfo100_train.txt`, agree with those of the classes in
the archive's `objectInfo150.txt`, all 100 of them.
"""

# The class, 1 to 150, of thing 1, thing 2, ...; the other 50 classes are stuff.
CLASS_OF_THING = (
    *(8, 9, 11, 13, 15, 16, 19, 20, 21, 23, 24, 25, 28, 31, 32, 33, 34, 36, 37, 38),
    *(39, 40, 42, 43, 44, 45, 46, 48, 50, 51, 54, 56, 57, 58, 59, 63, 65, 66, 67, 68),
    *(70, 71, 72, 73, 74, 75, 76, 77, 79, 81, 82, 83, 84, 86, 87, 88, 89, 90, 91, 93),
    *(94, 96, 98, 99, 103, 104, 105, 108, 109, 111, 112, 113, 116, 117, 119, 120, 121, 122, 124, 125),
    *(126, 127, 128, 130, 131, 133, 134, 135, 136, 137, 138, 139, 140, 143, 144, 145, 147, 148, 149, 150),
)
