"""DICOMweb (PS3.18): search, retrieve, store; each feature a service that decides and routes that translate."""
