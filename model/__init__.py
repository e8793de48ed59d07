"""The networks, in torch: network/ is the paper's figure, ops/ its sampling operator, training/ how it learns."""
