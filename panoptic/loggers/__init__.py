"""Curves of training in TensorBoard, MLflow, and Weights & Biases."""
