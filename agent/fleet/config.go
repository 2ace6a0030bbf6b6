package fleet

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/rules/strictyaml"
)

// The apiVersion and the kind of a configuration file.
const (
	APIVersion = "kube-devops.io/v1"
	Kind       = "Fleet"
)

// MaxMembers is the maximum number of members of a fleet.
const MaxMembers = 2000

// Load parses a configuration file. Relative paths in it refer to the folder of the file.
func Load(file string, text []byte) ([]Member, error) {
	r := strictyaml.NewReader(file)
	root := r.Parse(text)
	if root == nil || r.Err() != nil {
		return nil, r.Err()
	}
	timeout, maxAge := DefaultTimeout, DefaultMaxAge
	var clusters *yaml.Node
	r.Fields(root, "a fleet", []string{"apiVersion", "kind", "clusters"}, map[string]func(*yaml.Node){
		"apiVersion": r.Constant("apiVersion", APIVersion),
		"kind":       r.Constant("kind", Kind),
		"timeout":    durationInto(r, &timeout, "timeout"),
		"maxAge":     durationInto(r, &maxAge, "maxAge"),
		"clusters":   func(node *yaml.Node) { clusters = node },
	})
	if clusters == nil {
		return nil, r.Err()
	}
	var members []Member
	folder := filepath.Dir(file)
	r.Each(clusters, "clusters", func(_ int, node *yaml.Node) {
		m := Member{Timeout: timeout, MaxAge: maxAge}
		known := map[string]func(*yaml.Node){
			"timeout": durationInto(r, &m.Timeout, "timeout"), "maxAge": durationInto(r, &m.MaxAge, "maxAge"),
			"name": r.TextInto(&m.Name, "name"), "url": r.TextInto(&m.URL, "url"), "page": r.TextInto(&m.Page, "page"),
		}
		for name, into := range map[string]*string{"file": &m.File, "tokenFile": &m.TokenFile, "caFile": &m.CAFile} {
			known[name] = func(node *yaml.Node) {
				if path := r.NonEmptyText(node, name); path != "" {
					if *into = path; !filepath.IsAbs(path) {
						*into = filepath.Join(folder, path)
					}
				}
			}
		}
		before := r.Count()
		r.Fields(node, "a cluster", []string{"name"}, known)
		if r.Count() > before {
			return
		}
		if err := m.Complete(); err != nil {
			for line := range strings.SplitSeq(err.Error(), "\n") {
				r.Errorf(node, "%s", line)
			}
		}
		members = append(members, m)
	})
	return members, r.Err()
}

func durationInto(r *strictyaml.Reader, into *time.Duration, what string) func(*yaml.Node) {
	return func(node *yaml.Node) {
		text, ok := r.Text(node, what)
		if !ok {
			return
		}
		d, err := time.ParseDuration(text)
		if err != nil {
			r.Errorf(node, "%s must be a duration such as 10s or 24h, got %q", what, clipped(text))
		}
		*into = d
	}
}

// Check validates the members as a whole: their names and their number.
func Check(members []Member) error {
	var errs []error
	seen := make(map[string]bool)
	for _, m := range members {
		if seen[m.Name] {
			errs = append(errs, fmt.Errorf("cluster %s is listed twice: each cluster needs a unique name", m.Name))
		}
		seen[m.Name] = true
	}
	if len(members) > MaxMembers {
		errs = append(errs, fmt.Errorf("%d clusters: at most %d are supported", len(members), MaxMembers))
	}
	return errors.Join(errs...)
}
