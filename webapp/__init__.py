"""The web page: upload a smear, see every model's answer and whether to believe it; browse the comparison."""
