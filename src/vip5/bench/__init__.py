"""Speed, measured beside the peers: `vip5 bench data|train|decode|trie|prepare`."""
