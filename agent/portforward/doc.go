// Package portforward connects to the leading agent from outside the cluster. It finds the leader's pod through the Lease, and sends HTTP
// requests to it over a port-forward of the API server, with the permissions of the user. It does not use the pod proxy of the API server,
// because that removes the token that an agent with --metrics-auth requires.
//
// The package does not depend on the content of the responses.
package portforward
