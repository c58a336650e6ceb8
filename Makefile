.PHONY: help lint test integration up down
help:        ; ./pacs --help
test lint:   ; ./pacs test
integration: ; ./pacs test --all
up down:     ; ./pacs $@
