-- demo_pay.sql: one payment of the program of the second act of demo.sql: it reads the balance, thinks, and writes what it
-- computed. With :right it has one UPDATE compute it.
\if :right
UPDATE public.demo_accounts SET balance = balance - :amount WHERE id = 2;
\else
SELECT balance AS known FROM public.demo_accounts WHERE id = 1 \gset
SELECT pg_sleep(0.01) \g /dev/null
UPDATE public.demo_accounts SET balance = :known - :amount WHERE id = 1;
\endif
