"""Ad copy: what is asked for, who words it, how good it is."""
