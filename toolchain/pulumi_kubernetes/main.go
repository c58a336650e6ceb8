// Command pulumi-resource-kubernetes is the Pulumi Kubernetes provider, built
// from its published module. The provider's own command embeds files that its
// release build generates; the installer copies the same files out of the
// module directory beside this one before it builds.
package main

import (
	_ "embed"

	"github.com/pulumi/pulumi-kubernetes/provider/v4/pkg/provider"
)

//go:embed schema.json
var schema []byte

//go:embed terraform-mapping.json
var terraformMapping []byte

var version = "4.24.1"

func main() {
	provider.Serve("kubernetes", version, schema, terraformMapping)
}
