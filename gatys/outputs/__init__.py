"""Files that a stylization writes beside its picture: `recipe`, `loss_log` and `sheets`."""
