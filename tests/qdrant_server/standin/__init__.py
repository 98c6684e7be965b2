"""A stand-in for a Qdrant server: it answers as the recorded 1.18.3 did, over real shards of Qdrant's own engine.

Start it with `python -m qdrant_server.standin --storage FOLDER [--port N] [--grpc-port N] [--admin-port N] [--config JSON]`
(`tests` on the Python path). It prints its ports as one line of JSON, ends on SIGTERM after the answers it is giving, and starts
again on the same folder with the same data. `settings.py` says what `--config` takes, `faults.py` which faults there are.
"""
