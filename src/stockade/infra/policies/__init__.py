"""What operators write in `policies/`: read with care, followed while it changes, evaluated."""
