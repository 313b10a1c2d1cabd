"""Pull snapshots from a site, in a notebook or a job; nothing of the server is needed for it.

>>> from adapter.client import SponsorClient                            # doctest: +SKIP
>>> site = SponsorClient("https://adapter.hospital.example/sponsor", token_file="token")
>>> site.pull("data/demo")                                              # verified, and in place all at once
>>> site.frame("LB")                                                    # one dataset, by way of Parquet
"""

from adapter.client.client import Listed, Manifest, Planned, Pulled, SponsorClient

__all__ = ["Listed", "Manifest", "Planned", "Pulled", "SponsorClient"]
