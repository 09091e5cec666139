"""What training adds: adapters between locked towers, fitted to pictures and their captions."""
