"""Ray Serve deployments: shells that hold a replica together and know no rule."""
