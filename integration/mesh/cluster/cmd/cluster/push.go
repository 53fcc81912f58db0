package main

import (
	"errors"
	"flag"
	"fmt"
	"os"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// push puts a module into the cluster's registry, as the artifact form that Istio reads, and prints the reference with its digest.
func push(arguments []string) error {
	flags := flag.NewFlagSet("push", flag.ExitOnError)
	file := flags.String("wasm", "", "the module")
	_ = flags.Parse(arguments)
	if *file == "" || flags.NArg() != 1 {
		return errors.New("push needs --wasm FILE and one REFERENCE, like 10.244.0.1:5000/careplane/careplane:0.1.0")
	}
	reference, err := name.ParseReference(flags.Arg(0), name.Insecure)
	if err != nil {
		return err
	}
	module, err := os.ReadFile(*file)
	if err != nil {
		return err
	}
	config := static.NewLayer([]byte("{}"), "application/vnd.module.wasm.config.v1+json")
	content := static.NewLayer(module, "application/vnd.module.wasm.content.layer.v1+wasm")
	image, err := mutate.AppendLayers(mutate.MediaType(empty.Image, types.OCIManifestSchema1), config, content)
	if err != nil {
		return err
	}
	if err := remote.Write(reference, image); err != nil {
		return err
	}
	digest, err := image.Digest()
	if err != nil {
		return err
	}
	fmt.Printf("%s@%s\n", reference, digest)
	return nil
}
