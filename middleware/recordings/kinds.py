"""What a recording is called, by what its first bytes say."""

from __future__ import annotations

DOWNLOAD = ("application/octet-stream", "bin")
# what browsers play; everything else is only offered for download
PLAYED = {
    "audio/mpeg": ("audio/mpeg", "mp3"),
    "audio/x-wav": ("audio/wav", "wav"),
    "audio/ogg": ("audio/ogg", "ogg"),
    "audio/mp4": ("audio/mp4", "m4a"),
    "audio/aac": ("audio/aac", "aac"),
    "audio/x-flac": ("audio/flac", "flac"),
}
