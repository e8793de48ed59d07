"""The evaluator beside hotcoco."""
