"""One network for every domain: which tasks, what a budget buys, and the road from experts to a report."""
