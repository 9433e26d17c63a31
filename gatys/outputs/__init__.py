"""What a stylization leaves beside its picture: `recipe`, `loss_log`, `film` and `sheets`."""
