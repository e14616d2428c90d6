"""Soups: means of networks in weight space, whose weights are given, chosen or learned."""
