"""The chaos run: seeded schedules of faults and kills between the adapter and real servers; docs/chaos.md."""
