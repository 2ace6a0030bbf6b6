// Package portforward reaches the agent that leads from outside of the cluster: it finds its pod by the Lease, and sends HTTP
// requests to it through the port-forward of the API server, with the rights of the user. The pod proxy of the API server would
// not do, because it removes the token that an agent with --metrics-auth asks for.
//
// It knows nothing of what the agent answers.
package portforward
