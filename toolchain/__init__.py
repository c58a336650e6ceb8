"""What the platform runs: pinned versions, how each is obtained, and where it then lies.

`versions.yaml` names every version once; `install.ensure` brings the tools into the cache,
`manifests.ensure` the manifests their projects publish.
"""
