"""The Qdrant server that the tests talk to: a real one where `RECOUP_TEST_QDRANT` names one, else the stand-in."""
