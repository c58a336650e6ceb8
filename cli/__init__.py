"""The one command: `./pacs <verb>`. One module per verb; main.py lists them."""
