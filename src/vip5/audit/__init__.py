"""What a data set, its item codes and what is fitted on it give away."""
