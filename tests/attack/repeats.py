"""How often a file runs the race that it is about: MCPBOX_REPEATS says it where the usual run has a few."""
import collections
import os


def repeats(usual):
    return int(os.environ.get("MCPBOX_REPEATS") or usual)


class Outcomes(collections.Counter):
    """Prints, for whoever asked for many, what came out how often."""

    def tell(self, what):
        if os.environ.get("MCPBOX_REPEATS"):
            print(f"{what}: {self.total()} times: " +
                  ", ".join(f"{name} {count}" for name, count in sorted(self.items())), flush=True)
