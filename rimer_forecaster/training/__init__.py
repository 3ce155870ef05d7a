"""How the network is trained: by Lightning, from here on."""
