"""What goes over the wire: marshmallow at the edge only; milliseconds live here and nowhere else."""
