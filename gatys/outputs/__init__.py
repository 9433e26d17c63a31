"""What a stylization leaves beside its picture: `recipe`, `loss_log` and `sheets`."""
