package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/kube-devops/kube-devops/agent/portforward"
)

func (g *governance) newOpenCommand() *cobra.Command {
	var port int
	var noBrowser bool
	command := &cobra.Command{
		Use:   "open",
		Short: "Open the status page in a browser",
		Long: `Serve the status page of the agent on a loopback address, print its URL, and
open it in a browser. The command runs until you press Ctrl-C. It adds your
token to the requests if the agent requires one (--metrics-auth). It serves only
GET and HEAD requests of a browser that opened the URL with its key.`,
		Args: args(0, 0, ""),
	}
	command.Flags().IntVar(&port, "local-port", 0, "`port` on 127.0.0.1 to listen on (default: any free port)")
	command.Flags().BoolVar(&noBrowser, "no-browser", false, "print the URL without opening a browser")
	validateTogether(command, func() error {
		if port < 0 || port > 65535 {
			return fmt.Errorf("--local-port must be from 1 to 65535, got %d", port)
		}
		return g.validate()
	})
	command.RunE = func(cmd *cobra.Command, _ []string) error {
		client, err := g.client()
		if err != nil {
			return err
		}
		defer client.Close()
		// Request the page once, so that an error is printed here and not in the browser.
		response, err := get(cmd.Context(), client, "/", "text/html")
		if err != nil {
			return err
		}
		_ = response.Body.Close()
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			return fmt.Errorf("--local-port %d: %w: choose another port", port, err)
		}
		loopback, err := portforward.NewLoopback(listener, client)
		if err != nil {
			return err
		}
		leader, err := client.Leader(cmd.Context())
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\n", loopback.URL()); err != nil {
			return err
		}
		printLine(cmd.ErrOrStderr(), "serving the pages of "+leader+"; press Ctrl-C to stop")
		if !noBrowser {
			openBrowser(cmd.Context(), loopback.LaunchURL())
		}
		return loopback.Serve(cmd.Context())
	}
	return command
}

// openBrowser opens a URL if there is a browser. It ignores errors because the URL is printed, too.
func openBrowser(ctx context.Context, url string) {
	var command []string
	switch {
	case runtime.GOOS == "darwin":
		command = []string{"open", url}
	case runtime.GOOS == "windows":
		command = []string{"rundll32", "url.dll,FileProtocolHandler", url}
	case os.Getenv("DISPLAY") != "" || os.Getenv("WAYLAND_DISPLAY") != "":
		command = []string{"xdg-open", url}
	default:
		return
	}
	browser := exec.CommandContext(ctx, command[0], command[1:]...)
	if browser.Start() == nil {
		go func() { _ = browser.Wait() }()
	}
}
