-- demo_pay.sql: the program of the second act of demo.sql. It pays :amount ten times: reads the balance, thinks, and
-- writes what it computed. With :right it has one UPDATE compute it.
SET application_name = 'shop';
SELECT pg_sleep(0.2) \g /dev/null
\if :right
UPDATE public.demo_accounts SET balance = balance - :amount WHERE id = 2;
\else
SELECT balance AS known FROM public.demo_accounts WHERE id = 1 \gset
SELECT pg_sleep(0.01) \g /dev/null
UPDATE public.demo_accounts SET balance = :known - :amount WHERE id = 1;
\endif
\if :right
UPDATE public.demo_accounts SET balance = balance - :amount WHERE id = 2;
\else
SELECT balance AS known FROM public.demo_accounts WHERE id = 1 \gset
SELECT pg_sleep(0.01) \g /dev/null
UPDATE public.demo_accounts SET balance = :known - :amount WHERE id = 1;
\endif
\if :right
UPDATE public.demo_accounts SET balance = balance - :amount WHERE id = 2;
\else
SELECT balance AS known FROM public.demo_accounts WHERE id = 1 \gset
SELECT pg_sleep(0.01) \g /dev/null
UPDATE public.demo_accounts SET balance = :known - :amount WHERE id = 1;
\endif
\if :right
UPDATE public.demo_accounts SET balance = balance - :amount WHERE id = 2;
\else
SELECT balance AS known FROM public.demo_accounts WHERE id = 1 \gset
SELECT pg_sleep(0.01) \g /dev/null
UPDATE public.demo_accounts SET balance = :known - :amount WHERE id = 1;
\endif
\if :right
UPDATE public.demo_accounts SET balance = balance - :amount WHERE id = 2;
\else
SELECT balance AS known FROM public.demo_accounts WHERE id = 1 \gset
SELECT pg_sleep(0.01) \g /dev/null
UPDATE public.demo_accounts SET balance = :known - :amount WHERE id = 1;
\endif
\if :right
UPDATE public.demo_accounts SET balance = balance - :amount WHERE id = 2;
\else
SELECT balance AS known FROM public.demo_accounts WHERE id = 1 \gset
SELECT pg_sleep(0.01) \g /dev/null
UPDATE public.demo_accounts SET balance = :known - :amount WHERE id = 1;
\endif
\if :right
UPDATE public.demo_accounts SET balance = balance - :amount WHERE id = 2;
\else
SELECT balance AS known FROM public.demo_accounts WHERE id = 1 \gset
SELECT pg_sleep(0.01) \g /dev/null
UPDATE public.demo_accounts SET balance = :known - :amount WHERE id = 1;
\endif
\if :right
UPDATE public.demo_accounts SET balance = balance - :amount WHERE id = 2;
\else
SELECT balance AS known FROM public.demo_accounts WHERE id = 1 \gset
SELECT pg_sleep(0.01) \g /dev/null
UPDATE public.demo_accounts SET balance = :known - :amount WHERE id = 1;
\endif
\if :right
UPDATE public.demo_accounts SET balance = balance - :amount WHERE id = 2;
\else
SELECT balance AS known FROM public.demo_accounts WHERE id = 1 \gset
SELECT pg_sleep(0.01) \g /dev/null
UPDATE public.demo_accounts SET balance = :known - :amount WHERE id = 1;
\endif
\if :right
UPDATE public.demo_accounts SET balance = balance - :amount WHERE id = 2;
\else
SELECT balance AS known FROM public.demo_accounts WHERE id = 1 \gset
SELECT pg_sleep(0.01) \g /dev/null
UPDATE public.demo_accounts SET balance = :known - :amount WHERE id = 1;
\endif
