"""Fraud scoring of card transactions, every night: raw file to alert row."""
