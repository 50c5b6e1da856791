"""What adapter authors test with; shipped with the product."""
