"""The archive: receives, keeps, finds and returns DICOM instances, at the centre and at a branch alike."""
