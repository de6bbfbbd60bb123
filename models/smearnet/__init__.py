"""The project's own compact residual network, sized for two CPU cores."""
