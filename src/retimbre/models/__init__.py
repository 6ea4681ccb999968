"""Networks only (``nn.Module``): shapes in, shapes out."""
