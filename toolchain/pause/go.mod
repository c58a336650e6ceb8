module pacs.region/toolchain/pause

go 1.26
