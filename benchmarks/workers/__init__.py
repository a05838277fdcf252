"""Programs that measure, each a process of a training stack; they write what they found as JSON."""
