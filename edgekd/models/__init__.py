"""Networks: how they are built, stored, cut and scored."""
