package podlist

import (
	"context"
	"slices"

	"github.com/tidwall/gjson"
	"k8s.io/client-go/rest"
)

// Namespaces returns the sorted names of the namespaces of a cluster, at most one page of them. The account needs the verb
// "list" on the resource "namespaces".
func Namespaces(ctx context.Context, config *rest.Config) ([]string, error) {
	client, server, err := connect(config)
	if err != nil {
		return nil, err
	}
	at := server.JoinPath("api/v1/namespaces")
	at.RawQuery = "limit=500"
	page, err := get(ctx, client, at.String())
	if err != nil {
		return nil, err
	}
	var names []string
	for _, name := range gjson.GetBytes(page, "items.#.metadata.name").Array() {
		names = append(names, name.String())
	}
	slices.Sort(names)
	return names, nil
}
