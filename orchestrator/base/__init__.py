"""The ground floor: words, states, money, time and settings that every other room uses."""
