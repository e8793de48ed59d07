"""The paper's figure: backbone, neck, encoder, location decoder, mask decoders."""
