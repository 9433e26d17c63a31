"""Films in and out: video files with their sound, and animated GIF, PNG and WebP."""
