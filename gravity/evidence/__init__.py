"""What runs say: statistics, rules, claims, findings, and the authors' numbers."""
