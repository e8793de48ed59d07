"""Export a trained network as one file that runs without this project: `torch.export` and ONNX.

python -m model.export --model runs/train/model.safetensors --out runs/export --dynamic --images A.jpg B.jpg C.jpg
"""
