package lint

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/rules/strictyaml"
)

// lists warns about named lists that no predicate of the table uses.
func (l *linter) lists(node *yaml.Node) {
	if node == nil {
		return
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		if key := node.Content[i]; !l.table.UsesList(key.Value) {
			l.ErrorAt(key, "list "+key.Value, "no predicate uses the list")
		}
	}
}

// octal is an integer that has another value in YAML 1.1, whose rules the loader follows, than in YAML 1.2.
var octal = regexp.MustCompile(`^[-+]?0[0-7_]*[1-7][0-7_]*$`)

// octals warns about integers that are octal in YAML 1.1 alone.
func (l *linter) octals(node *yaml.Node) {
	if node.Kind == yaml.ScalarNode && node.ShortTag() == "!!int" && node.Style == 0 && octal.MatchString(node.Value) {
		if s, err := strictyaml.ParseScalar(node); err == nil && !strings.HasSuffix(node.Value, strconv.FormatInt(s.Int, 10)) {
			sign, digits := "", strings.TrimLeft(strings.TrimLeft(node.Value, "+-"), "0_")
			if s.Int < 0 {
				sign = "-"
			}
			l.Errorf(node, "%s is the octal number %d, as in YAML 1.1; in YAML 1.2 it is %s; write %d or %[3]s", node.Value, s.Int, sign+strings.ReplaceAll(digits, "_", ""), s.Int)
		}
	}
	for _, child := range node.Content {
		l.octals(child)
	}
}

// officialImages are often used images directly below docker.io/library. Their short names are seldom meant as organisations.
var officialImages = strings.Fields(`alpine amazonlinux bash busybox caddy cassandra centos consul couchdb debian drupal
	eclipse-temurin elasticsearch fedora ghost golang gradle haproxy hello-world httpd influxdb kibana logstash mariadb maven memcached mongo
	mysql nats neo4j nextcloud nginx node openjdk perl php postgres python rabbitmq redis registry rockylinux ruby rust solr sonarqube
	telegraf tomcat traefik ubuntu vault wordpress zookeeper`)

// organisation warns about an organisation of Docker Hub that has the name of an official image, unless the entries name that, too.
func (l *leaf) organisation(at, node *yaml.Node, entries []*yaml.Node) {
	registry, name, _ := strings.Cut(node.Value, "/")
	if lower := strings.ToLower(registry); lower != "docker.io" && lower != "index.docker.io" || !slices.Contains(officialImages, name) {
		return
	}
	official := "docker.io/library/" + name
	if !slices.ContainsFunc(entries, func(n *yaml.Node) bool {
		return slices.Contains([]string{name, "library/" + name, official, "docker.io/library", "docker.io"}, n.Value)
	}) {
		l.Errorf(at, "imageFrom %s is the organisation %s, not the official image; write %s", node.Value, name, official)
	}
}

// sources warns about entries of imageFrom that may be meant as something else: those of one word as an organisation or a registry, and
// organisations as images.
func (l *leaf) sources() {
	entries := strictyaml.Entries(l.Operand)
	for _, node := range entries {
		word := node.Value
		at := node
		if l.listed {
			at = l.node
		}
		l.organisation(at, node, entries)
		if word == "localhost" || strings.ContainsAny(word, "./:") || strings.ToLower(word) != word {
			continue
		}
		if !l.listed && l.table.HasList(word) {
			l.Errorf(at, "imageFrom %s is the one image docker.io/library/%[1]s (did you mean {list: %[1]s}?)", word)
			continue
		}
		l.Errorf(at, "imageFrom %s is the one image docker.io/library/%[1]s; write that, or docker.io/%[1]s for all images of an organisation, or the host name of a registry", word)
	}
}
