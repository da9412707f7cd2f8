"""What a treatment changes: learners of effects over several arms, blended by cross-fitting, calibrated, with intervals."""
