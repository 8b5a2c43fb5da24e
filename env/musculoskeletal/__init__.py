"""OpenSim models as Gymnasium environments."""
